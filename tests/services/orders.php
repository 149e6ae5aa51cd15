<?php
// Orders kept in MySQL: what is written by PDO, what is read by mysqli, both with statements that the server prepares.
// A connection for each request. ORDERS_CHANGE selects a build.
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$change = getenv("ORDERS_CHANGE") ?: "none";
[$host, $port] = explode(":", getenv("STORE"));
$name = trim($_SERVER["REQUEST_URI"], "/");

function put(PDO $store, string $change, string $name, int $quantity): array
{
    $store->beginTransaction();
    $insert = $store->prepare("INSERT INTO orders (name, quantity) VALUES (:name, :quantity)");
    $insert->execute(["name" => $name, "quantity" => $change === "other-parameter" ? $quantity + 1 : $quantity]);
    $order = (int) $store->lastInsertId();
    if ($change !== "dropped-query") {
        $update = $store->prepare("UPDATE stock SET left_over = left_over - ? WHERE name = ?");
        $update->execute([$quantity, $name]);
    }
    $store->commit();
    [$count, $total] = $store->query("SELECT COUNT(*), SUM(quantity) FROM orders")->fetch(PDO::FETCH_NUM);
    return [201, ["order" => $order, "count" => $count, "total" => (int) $total]];
}

function get(mysqli $store, string $change, string $name): array
{
    $order = $change === "other-sql" ? "number DESC" : "number";
    $sql = "SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY $order";
    $statement = $store->prepare($sql);
    $statement->bind_param("s", $name);
    $statement->execute();
    $rows = $statement->get_result()->fetch_all();
    return [$rows ? 200 : 404, $rows];
}

if ($_SERVER["REQUEST_METHOD"] === "POST") {
    $options = [PDO::ATTR_EMULATE_PREPARES => false, PDO::ATTR_PERSISTENT => $change === "persistent"];
    $store = new PDO("mysql:host=$host;port=$port;dbname=shop;charset=utf8mb4", "app", "secret", $options);
    [$status, $said] = put($store, $change, $name, (int) file_get_contents("php://input"));
} else {
    $store = new mysqli($host, "app", "secret", "shop", (int) $port);
    $store->set_charset("utf8mb4");
    try {
        [$status, $said] = $name === "wrong" ? [200, $store->query("SELECT nothing FROM nowhere")] : get($store, $change, $name);
    } catch (mysqli_sql_exception $error) {
        [$status, $said] = [409, [$error->getCode(), $error->getSqlState(), $error->getMessage()]];
    }
}
http_response_code($status);
header("Content-Type: application/json");
echo json_encode($said);

<?php
// Accounts kept in PostgreSQL: what is written by PDO, what is read by pg_*. A connection for each request, or with small-pool one that
// PHP keeps. ACCOUNTS_CHANGE selects a build.
$change = getenv("ACCOUNTS_CHANGE") ?: "none";
$place = parse_url(getenv("STORE"));
$name = trim($_SERVER["REQUEST_URI"], "/");
const ROWS = "SELECT name, balance, changed, tags, picture FROM accounts";

function put(array $place, string $change, string $name, string $amount): array
{
    $options = [
        PDO::ATTR_PERSISTENT => $change === "small-pool",
        // Executed in one go, instead of by a statement with a name.
        PDO::PGSQL_ATTR_DISABLE_PREPARES => $change === "never-prepares",
    ];
    $address = "pgsql:host={$place["host"]};port={$place["port"]};dbname=postgres;sslmode=disable";
    $store = new PDO($address, $place["user"], $place["pass"], $options);
    try {
        $store->beginTransaction();
        $insert = $store->prepare("INSERT INTO accounts (name, balance, tags) VALUES (:name, :balance, :tags) RETURNING id");
        $balance = $change === "other-value" ? "1$amount" : $amount;
        $insert->execute(["name" => $name, "balance" => $balance, "tags" => "{{$name},new}"]);
        $account = $insert->fetchColumn();
        if ($change !== "dropped-query") {
            $places = $change === "other-sql" ? "(amount, account) VALUES (:amount, :account)" : "(account, amount) VALUES (:account, :amount)";
            $store->prepare("INSERT INTO entries $places")->execute(["account" => $account, "amount" => $balance]);
        }
        $store->commit();
        if ($change === "extra-query") {
            $store->prepare("DELETE FROM entries WHERE amount < ?")->execute([0]);
        }
        return [201, ["account" => $account]];
    } catch (PDOException $error) {
        $store->rollBack();
        return [409, ["error" => $error->errorInfo]];
    }
}

function connect(array $place, string $change): PgSql\Connection
{
    $address = "host={$place["host"]} port={$place["port"]} user={$place["user"]} password={$place["pass"]} dbname=postgres sslmode=disable";
    return $change === "small-pool" ? pg_pconnect($address) : pg_connect($address);
}

function get(PgSql\Connection $store, string $change, string $name): array
{
    if ($change === "never-prepares") {
        $found = pg_query_params($store, ROWS . " WHERE name = $1", [$name]);
    } else {
        pg_prepare($store, "", ROWS . " WHERE name = $1");
        $found = pg_execute($store, "", [$name]);
    }
    $row = pg_fetch_assoc($found);
    return $row ? [200, $row] : [404, ["error" => "no account $name"]];
}

if ($_SERVER["REQUEST_METHOD"] === "POST") {
    [$status, $said] = put($place, $change, $name, file_get_contents("php://input"));
} elseif ($name === "wrong") {
    [$status, $said] = put($place, $change, "tea", "7");
} else {
    $store = connect($place, $change);
    [$status, $said] = match ($name) {
        "all" => [200, pg_fetch_all(pg_query($store, ROWS . " ORDER BY name"))],
        "load" => [200, pg_copy_from($store, "entries", $change === "other-data" ? ["1\t8\n", "1\t9\n"] : ["1\t7\n", "1\t9\n"])],
        default => get($store, $change, $name),
    };
}
http_response_code($status);
header("Content-Type: application/json");
echo json_encode($said);

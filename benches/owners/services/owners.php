<?php
// Each GET /r/ID calls the downstream twice, GET /a/ID and GET /b/ID; with the modes postgres and mysql it asks a database
// with these two, on a connection that the process keeps.
//
// Environment: MODE, the way in which it does; DOWNSTREAM, its URL.
$mode = getenv("MODE");
$id = substr($_SERVER["REQUEST_URI"], strlen("/r/"));
[$first, $second] = [getenv("DOWNSTREAM") . "/a/$id", getenv("DOWNSTREAM") . "/b/$id"];

function handle(string $url): CurlHandle
{
    $handle = curl_init($url);
    curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
    return $handle;
}

function by_postgres(string $path): void
{
    ["host" => $host, "port" => $port] = parse_url(getenv("DOWNSTREAM"));
    $address = "pgsql:host=$host;port=$port;dbname=postgres;sslmode=disable";
    $store = new PDO($address, "postgres", "", [PDO::ATTR_PERSISTENT => true]);
    $asked = $store->prepare("SELECT ?::text FROM pg_sleep(0.0005 + random() * 0.009)");
    $asked->execute([$path]);
    $asked->fetchAll();
}

function by_mysql(string $path): void
{
    ["host" => $host, "port" => $port] = parse_url(getenv("DOWNSTREAM"));
    $store = new mysqli("p:$host", "root", "", "", $port);
    $asked = $store->prepare("SELECT ? FROM (SELECT SLEEP(0.0005 + RAND() * 0.009)) AS slept");
    $asked->execute([$path]);
    $asked->get_result()->fetch_all();
}

function respond(string $id): void
{
    header("Content-Length: " . strlen($id));
    echo $id;
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    flush();
}

switch ($mode) {
    case "curl":
        $handle = handle($first);
        curl_exec($handle);
        curl_setopt($handle, CURLOPT_URL, $second);
        curl_exec($handle);
        break;
    case "parallel":
        $both = curl_multi_init();
        curl_multi_add_handle($both, handle($first));
        curl_multi_add_handle($both, handle($second));
        do {
            curl_multi_exec($both, $running);
            curl_multi_select($both);
        } while ($running > 0);
        break;
    case "postgres":
        by_postgres("/a/$id");
        by_postgres("/b/$id");
        break;
    case "mysql":
        by_mysql("/a/$id");
        by_mysql("/b/$id");
        break;
    case "after":
        file_get_contents($first);
        respond($id);
        file_get_contents($second);
        return;
    default:
        file_get_contents($first);
        if ($mode === "timer") {
            usleep(3000);
        }
        file_get_contents($second);
}
respond($id);

<?php
// Passes every request on to DOWN and its answer back, one connection at a time: GET by streams, POST by curl. HTTPS where
// CERT names a certificate, with its key in KEY; AUTHORITY is trusted.

$tls = getenv('CERT') != '';
$context = stream_context_create(['ssl' => $tls ? ['local_cert' => getenv('CERT'), 'local_pk' => getenv('KEY')] : []]);
$server = stream_socket_server(($tls ? 'tls' : 'tcp') . '://127.0.0.1:' . getenv('PORT'), $number, $error,
    STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, $context);

function call(string $method, string $url, string $body): string {
    if ($method === 'GET') {
        $context = stream_context_create(['ssl' => ['cafile' => getenv('AUTHORITY')]]);
        return file_get_contents($url, false, $context);
    }
    $call = curl_init($url);
    curl_setopt_array($call, [CURLOPT_RETURNTRANSFER => true, CURLOPT_CAINFO => getenv('AUTHORITY'), CURLOPT_POSTFIELDS => $body,
        CURLOPT_HTTPHEADER => ['Expect:']]);
    return curl_exec($call);
}

fwrite(STDERR, "relay listens\n");
while (true) {
    $connection = @stream_socket_accept($server, -1);
    while ($connection && ($line = fgets($connection)) !== false) {
        [$method, $target] = explode(' ', $line);
        $length = 0;
        while (($line = rtrim(fgets($connection))) !== '') {
            if (stripos($line, 'content-length:') === 0) {
                $length = (int) substr($line, 15);
            }
        }
        $body = $length > 0 ? stream_get_contents($connection, $length) : '';
        $content = call($method, getenv('DOWN') . $target, $body);
        fwrite($connection, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($content) . "\r\n\r\n" . $content);
    }
    if ($connection) {
        fclose($connection);
    }
}

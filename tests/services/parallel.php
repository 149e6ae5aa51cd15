<?php
// Two calls side by side for each request, and one after the response has been sent.
function handle(string $path): CurlHandle
{
    $handle = curl_init("http://" . getenv("DOWNSTREAM") . $path);
    curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
    return $handle;
}

$path = $_SERVER["REQUEST_URI"];
$both = curl_multi_init();
curl_multi_add_handle($both, handle($path));
curl_multi_add_handle($both, handle($path));
do {
    curl_multi_exec($both, $running);
    curl_multi_select($both);
} while ($running > 0);
header("Content-Length: " . strlen($path));
echo $path;
flush();
curl_exec(handle($path));

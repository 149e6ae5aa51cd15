<?php
// A part of the shop: GET /orders/N asks the inventory for what is left, twice.
//
// Environment: INVENTORY_URL; SHOP_CHANGE, what is different in this build ("argument": the second question).
$order = substr($_SERVER["REQUEST_URI"], strlen("/orders/"));
$context = stream_context_create(["http" => ["header" => "X-Order: $order\r\n"]]);
$ask = fn(string $path) => json_decode(file_get_contents(getenv("INVENTORY_URL") . $path, false, $context), true);
$first = $ask("/stock/sku-$order");
$second = $ask("/stock/" . (getenv("SHOP_CHANGE") === "argument" ? "old" : "new") . "-$order");
header("Content-Type: application/json");
echo json_encode(["order" => $order, "available" => $first["available"] + $second["available"]]);

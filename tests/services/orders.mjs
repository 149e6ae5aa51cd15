// Orders kept in MySQL, by prepared statements. ORDERS_CHANGE selects a build.
import { createRequire } from "node:module";
import { serve } from "./web.mjs";

const require = createRequire(process.env.MODULES + "/");
const mysql = require("mysql2/promise");

const change = process.env.ORDERS_CHANGE ?? "none";
const [host, port] = process.env.STORE.split(":");
const login = { host, port: Number(port), user: "app", password: "secret", database: "shop" };
if (process.env.STORE_TLS) login.ssl = {};
const connect = () => mysql.createPool({ ...login, connectionLimit: change === "small-pool" ? 1 : 4 });
let pool = connect();

async function put(name, quantity) {
  const connection = await pool.getConnection();
  try {
    await connection.beginTransaction();
    const wanted = change === "other-parameter" ? quantity + 1 : quantity;
    const [{ insertId }] = await connection.execute("INSERT INTO orders (name, quantity) VALUES (?, ?)", [name, wanted]);
    if (change !== "dropped-query") {
      await connection.execute("UPDATE stock SET left_over = left_over - ? WHERE name = ?", [quantity, name]);
    }
    await connection.commit();
    const [[{ count, total }]] = await connection.query("SELECT COUNT(*) AS count, SUM(quantity) AS total FROM orders");
    return [201, { order: insertId, count, total: Number(total) }];
  } finally {
    connection.release();
  }
}

async function get(name) {
  if (change === "reconnects") {
    await pool.end();
    pool = connect();
  }
  const order = change === "other-sql" ? "number DESC" : "number";
  const sql = `SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY ${order}`;
  const [rows] = await pool.execute({ sql, rowsAsArray: true }, [name]);
  return [rows.length ? 200 : 404, rows];
}

async function wrong() {
  try {
    await pool.execute("SELECT nothing FROM nowhere");
  } catch (error) {
    return [409, [error.errno, error.sqlState, error.message]];
  }
}

serve("orders listen", (name) => (name === "wrong" ? wrong() : get(name)), (name, body) => put(name, Number(body)));

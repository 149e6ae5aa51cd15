// Accounts kept in PostgreSQL. ACCOUNTS_CHANGE selects a build.
import { createRequire } from "node:module";
import { serve } from "./web.mjs";

const require = createRequire(process.env.MODULES + "/");
const pg = require("pg");

const change = process.env.ACCOUNTS_CHANGE ?? "none";
const connect = () => new pg.Pool({ connectionString: process.env.STORE, max: change === "small-pool" ? 1 : 3 });
let pool = connect();
const rows = "SELECT name, balance, changed, tags, picture FROM accounts";
// A statement with a name is prepared once on each connection.
const ask = (text, values) => (change === "never-prepares" ? { text, values } : { name: text.slice(0, 40), text, values });

const shown = (row) => ({ ...row, picture: row.picture?.toString("hex") ?? null });

async function put(name, body) {
  const amount = Number(body) + (change === "other-value" ? 1 : 0);
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const kept = await client.query(ask("INSERT INTO accounts (name, balance, tags) VALUES ($1, $2, $3) RETURNING id", [name, amount, [name, "new"]]));
    const account = kept.rows[0].id;
    const order = change === "other-sql" ? "(amount, account) VALUES ($2, $1)" : "(account, amount) VALUES ($1, $2)";
    if (change !== "dropped-query") await client.query(ask(`INSERT INTO entries ${order}`, [account, amount]));
    await client.query("COMMIT");
    if (change === "extra-query") await client.query("DELETE FROM entries WHERE amount < $1", [0]);
    return [201, { account }];
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

async function get(name) {
  if (change === "reconnects") {
    await pool.end();
    pool = connect();
  }
  const found = await pool.query(ask(`${rows} WHERE name = $1`, [name]));
  return found.rowCount ? [200, shown(found.rows[0])] : [404, { error: `no account ${name}` }];
}

async function every() {
  const [accounts, entries] = await Promise.all([pool.query(`${rows} ORDER BY name`), pool.query("SELECT count(*) FROM entries")]);
  return [200, { accounts: accounts.rows.map(shown), entries: entries.rows[0].count }];
}

async function wrong() {
  try {
    return await put("tea", "7");
  } catch (error) {
    return [409, { error: error.detail, constraint: error.constraint, code: error.code }];
  }
}

serve("accounts listens", (name) => ({ all: every, wrong })[name]?.() ?? get(name), put);

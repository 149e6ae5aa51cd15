// Databases, by pools of ten connections.
package main

import (
	"context"
	"database/sql"
	"fmt"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

const (
	postgres      = "SELECT $1::text FROM pg_sleep(0.0005 + random() * 0.009)"
	mysql         = "SELECT ? FROM (SELECT SLEEP(0.0005 + RAND() * 0.009)) AS slept"
	postgres_name = "postgres://postgres@%s/postgres?sslmode=disable"
	mysql_name    = "root@tcp(%s)/"
)

func init() {
	stores["postgres-pq"] = by_sql("postgres", postgres_name, postgres, false)
	stores["postgres-pgx"] = by_sql("pgx", postgres_name, postgres, false)
	stores["postgres-pgx-transactions"] = by_sql("pgx", postgres_name, postgres, true)
	stores["mysql"] = by_sql("mysql", mysql_name, mysql, false)
}

func by_sql(driver, name, query string, as_transaction bool) func(string) func(string) {
	return func(address string) func(string) {
		pool, err := sql.Open(driver, fmt.Sprintf(name, address))
		if err != nil {
			panic(err)
		}
		pool.SetMaxOpenConns(10)
		pool.SetMaxIdleConns(10)
		return func(path string) {
			// As that of a request, which can end it.
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			connection, err := pool.Conn(ctx)
			if err != nil {
				panic(err)
			}
			defer connection.Close()
			if as_transaction {
				connection.ExecContext(ctx, "BEGIN /* "+path+" */")
				defer connection.ExecContext(ctx, "COMMIT /* "+path+" */")
			}
			var answer string
			if err := connection.QueryRowContext(ctx, query, path).Scan(&answer); err != nil || answer != path {
				panic(fmt.Sprint(path, " is answered by ", answer, ", ", err))
			}
		}
	}
}

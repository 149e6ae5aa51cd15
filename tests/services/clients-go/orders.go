package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Orders kept in MySQL by database/sql with go-sql-driver. ORDERS_CHANGE selects a build.
func orders() {
	change := os.Getenv("ORDERS_CHANGE")
	all := context.Background()
	settings := mysql.NewConfig()
	settings.Net, settings.Addr, settings.User, settings.Passwd, settings.DBName = "tcp", os.Getenv("STORE"), "app", "secret", "shop"
	settings.ParseTime = true
	// What has parameters is prepared for each execution, or written into the text.
	settings.InterpolateParams = change == "by-text"
	settings.Params = map[string]string{"sql_mode": "'TRADITIONAL'"}
	connect := func() *sql.DB {
		store, err := sql.Open("mysql", settings.FormatDSN())
		check(err)
		store.SetMaxOpenConns(in(change, "small-pool", 1, 8))
		store.SetMaxIdleConns(in(change, "small-pool", 1, 8))
		return store
	}
	store := connect()
	// Prepared anew on each connection that executes it.
	order := in(change, "other-sql", "number DESC", "number")
	prepare := func() *sql.Stmt {
		ask, err := store.Prepare("SELECT number, name, quantity, price, ordered FROM orders WHERE name = ? ORDER BY " + order)
		check(err)
		return ask
	}
	ask := prepare()

	put := func(name, body string) (int, any) {
		quantity, err := strconv.Atoi(body)
		check(err)
		work, err := store.BeginTx(all, nil)
		check(err)
		wanted := quantity + in(change, "other-parameter", 1, 0)
		made, err := work.Exec("INSERT INTO orders (name, quantity) VALUES (?, ?)", name, wanted)
		check(err)
		if change != "dropped-query" {
			_, err = work.Exec("UPDATE stock SET left_over = left_over - ? WHERE name = ?", quantity, name)
			check(err)
		}
		check(work.Commit())
		number, err := made.LastInsertId()
		check(err)
		var count, total int
		check(store.QueryRow("SELECT COUNT(*), SUM(quantity) FROM orders").Scan(&count, &total))
		return 201, object{"order": number, "count": count, "total": total}
	}
	get := func(name string) (int, any) {
		if change == "reconnects" {
			check(store.Close())
			store = connect()
			ask = prepare()
		}
		found, err := ask.Query(name)
		check(err)
		defer found.Close()
		rows := []any{}
		for found.Next() {
			var number, quantity int
			var name, price string
			var ordered time.Time
			check(found.Scan(&number, &name, &quantity, &price, &ordered))
			rows = append(rows, []any{number, name, quantity, price, ordered})
		}
		check(found.Err())
		return in(strconv.Itoa(len(rows)), "0", 404, 200), rows
	}
	wrong := func() (int, any) {
		_, err := store.Query("SELECT nothing FROM nowhere")
		var refused *mysql.MySQLError
		if errors.As(err, &refused) {
			return 409, []any{refused.Number, string(refused.SQLState[:]), refused.Message}
		}
		check(err)
		return 200, nil
	}
	find := func(name string) (int, any) {
		if name == "wrong" {
			return wrong()
		}
		return get(name)
	}
	serve("orders listen", find, put)
}

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/pgtype"
)

const rows = "SELECT name, balance, changed, tags, picture FROM accounts"

// An account as it is kept.
type account struct {
	Name    string
	Balance pgtype.Numeric
	Changed time.Time
	Tags    []string
	Picture []byte
}

func shown(account account) any {
	balance, err := account.Balance.Value()
	check(err)
	return object{
		"name": account.Name, "balance": balance, "changed": account.Changed.UTC(), "tags": account.Tags,
		"picture": hex.EncodeToString(account.Picture),
	}
}

// Accounts kept in PostgreSQL by pgx. ACCOUNTS_CHANGE selects a build.
func accounts() {
	change := os.Getenv("ACCOUNTS_CHANGE")
	all := context.Background()
	settings, err := pgxpool.ParseConfig(os.Getenv("STORE"))
	check(err)
	settings.MaxConns = in[int32](change, "small-pool", 1, 3)
	// Statements are prepared once on each connection, or for each execution.
	if change == "never-prepares" {
		settings.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	}
	connect := func() *pgxpool.Pool {
		pool, err := pgxpool.NewWithConfig(all, settings)
		check(err)
		return pool
	}
	store := connect()

	put := func(name, body string) (int, any) {
		var amount pgtype.Numeric
		check(amount.Scan(in(change, "other-value", "1", "") + body))
		var account int32
		err := pgx.BeginFunc(all, store, func(work pgx.Tx) error {
			insert := "INSERT INTO accounts (name, balance, tags) VALUES ($1, $2, $3) RETURNING id"
			if err := work.QueryRow(all, insert, name, amount, []string{name, "new"}).Scan(&account); err != nil {
				return err
			}
			if change == "dropped-query" {
				return nil
			}
			places := in(change, "other-sql", "(amount, account) VALUES ($2, $1)", "(account, amount) VALUES ($1, $2)")
			_, err := work.Exec(all, "INSERT INTO entries "+places, account, amount)
			return err
		})
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return 409, object{"error": refused.Detail, "constraint": refused.ConstraintName, "code": refused.Code}
		}
		check(err)
		if change == "extra-query" {
			_, err := store.Exec(all, "DELETE FROM entries WHERE amount < $1", 0)
			check(err)
		}
		return 201, object{"account": account}
	}
	get := func(name string) (int, any) {
		if change == "reconnects" {
			store.Close()
			store = connect()
		}
		found, err := store.Query(all, rows+" WHERE name = $1", name)
		check(err)
		one, err := pgx.CollectExactlyOneRow(found, pgx.RowToStructByPos[account])
		if errors.Is(err, pgx.ErrNoRows) {
			return 404, object{"error": "no account " + name}
		}
		check(err)
		return 200, shown(one)
	}
	// Two questions in one batch.
	every := func() (int, any) {
		batch := &pgx.Batch{}
		batch.Queue(rows + " ORDER BY name")
		batch.Queue("SELECT count(*) FROM entries")
		answers := store.SendBatch(all, batch)
		found, err := answers.Query()
		check(err)
		each, err := pgx.CollectRows(found, pgx.RowToStructByPos[account])
		check(err)
		var entries int
		check(answers.QueryRow().Scan(&entries))
		check(answers.Close())
		told := []any{}
		for _, one := range each {
			told = append(told, shown(one))
		}
		return 200, object{"accounts": told, "entries": entries}
	}
	load := func() (int, any) {
		lines := [][]any{{1, "1.00"}, {1, "2.00"}, {1, in(change, "other-data", "4.00", "3.00")}}
		for _, line := range lines {
			var amount pgtype.Numeric
			check(amount.Scan(line[1]))
			line[1] = amount
		}
		copied, err := store.CopyFrom(all, pgx.Identifier{"entries"}, []string{"account", "amount"}, pgx.CopyFromRows(lines))
		check(err)
		return 200, object{"copied": copied}
	}
	find := func(name string) (int, any) {
		switch name {
		case "all":
			return every()
		case "load":
			return load()
		case "wrong":
			return put("tea", "7")
		}
		return get(name)
	}
	serve("accounts listens", find, put)
}

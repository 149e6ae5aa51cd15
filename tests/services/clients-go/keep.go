package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Notes kept in Redis by go-redis. KEEP_CHANGE selects a build.
func keep() {
	change := os.Getenv("KEEP_CHANGE")
	all := context.Background()
	connect := func() *redis.Client {
		return redis.NewClient(&redis.Options{
			Addr:       os.Getenv("STORE"),
			DB:         1,
			ClientName: change,
			Protocol:   in(change, "resp2", 2, 3),
			PoolSize:   in(change, "small-pool", 1, 20),
		})
	}
	store := connect()

	put := func(name, body string) (int, any) {
		key := in(change, "other-key", "notes:", "note:") + name
		note, err := json.Marshal(object{"text": body, "length": len(body) + in(change, "other-value", 1, 0)})
		check(err)
		_, err = store.TxPipelined(all, func(keeps redis.Pipeliner) error {
			keeps.Set(all, key, note, 0)
			if change != "dropped-command" {
				keeps.IncrBy(all, "count", 1)
			}
			return nil
		})
		check(err)
		if change == "extra-command" {
			check(store.Expire(all, key, 60e9).Err())
		}
		if change != "dropped-call" {
			check(store.LPush(all, "recent", name).Err())
		}
		count, err := store.Get(all, "count").Int()
		check(err)
		return 201, object{"kept": name, "count": count}
	}
	get := func(name string) (int, any) {
		if change == "reconnects" {
			check(store.Close())
			store = connect()
		}
		note, err := store.Get(all, "note:"+name).Bytes()
		if errors.Is(err, redis.Nil) {
			return 404, object{"error": "no note " + name}
		}
		check(err)
		return 200, object{"name": name, "note": json.RawMessage(note)}
	}
	every := func() (int, any) {
		names, err := store.LRange(all, "recent", 0, in[int64](change, "other-range", 1, -1)).Result()
		check(err)
		keys := make([]string, len(names))
		for number, name := range names {
			keys[number] = "note:" + name
		}
		notes, err := store.MGet(all, keys...).Result()
		check(err)
		picture, err := store.Get(all, "picture").Bytes()
		check(err)
		return 200, object{"notes": notes, "picture": hex.EncodeToString(picture), "tags": tags(all, store)}
	}
	wrong := func() (int, any) {
		if err := store.IncrBy(all, "recent", 1).Err(); err != nil {
			return 409, object{"error": err.Error()}
		}
		return 200, nil
	}
	find := func(name string) (int, any) {
		switch name {
		case "all":
			return every()
		case "wrong":
			return wrong()
		}
		return get(name)
	}
	serve("keep listens", find, put)
}

// What is counted of each note, which RESP3 tells as a map.
func tags(all context.Context, store *redis.Client) int {
	tags, err := store.HGetAll(all, "tags").Result()
	check(err)
	sum := 0
	for _, count := range tags {
		number, err := strconv.Atoi(count)
		check(err)
		sum += number
	}
	return sum
}

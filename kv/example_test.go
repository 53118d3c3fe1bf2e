package kv_test

import (
	"context"
	"fmt"

	"tempestkv/kv"
	"tempestkv/kv/iterator"
	"tempestkv/kv/vfs"
)

func Example() {
	ctx := context.Background()
	db, err := kv.Open(vfs.NewMem(), nil) // or osfs.Open("folder"), or volume.Open(device, nil)
	if err != nil {
		panic(err)
	}
	defer db.Close()

	db.Put(ctx, []byte("user:1"), []byte("Ada"), &kv.WriteOptions{Strict: true})
	db.Put(ctx, []byte("user:2"), []byte("Grace"), nil)

	value, err := db.Get(ctx, []byte("user:1"))
	fmt.Println(string(value), err)

	scan, err := db.Scan(ctx, &kv.ScanOptions{Bounds: iterator.Bounds{Lower: []byte("user:"), Upper: []byte("user;")}})
	if err != nil {
		panic(err)
	}
	defer scan.Close()
	for scan.Next() {
		fmt.Printf("%s=%s\n", scan.Key(), scan.Value())
	}
	fmt.Println(scan.Error())
	// Output:
	// Ada <nil>
	// user:1=Ada
	// user:2=Grace
	// <nil>
}

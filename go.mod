module tempestkv

go 1.26

require (
	github.com/cockroachdb/datadriven v1.0.2 // indirect
	github.com/gofrs/flock v0.13.0 // indirect
	github.com/golang/snappy v0.0.0-20180518054509-2e65f85255db // indirect
	github.com/google/btree v1.1.3 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	github.com/syndtr/goleveldb v1.0.0 // indirect
	golang.org/x/sys v0.37.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

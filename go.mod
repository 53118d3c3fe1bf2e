module tempestkv

go 1.26

require (
	github.com/alecthomas/kong v1.17.0
	github.com/anishathalye/porcupine v1.3.1
	github.com/cockroachdb/datadriven v1.0.2
	github.com/gofrs/flock v0.13.0
	github.com/golang/snappy v1.0.0
	github.com/google/btree v1.1.3
	github.com/syndtr/goleveldb v1.0.0
	github.com/syumai/workers v0.32.0
	honnef.co/go/js/dom/v2 v2.0.0-20231112215516-51f43a291193
	pgregory.net/rapid v1.3.0
)

require (
	github.com/pmezard/go-difflib v1.0.0 // indirect
	golang.org/x/sys v0.37.0 // indirect
)

module tempestkv

go 1.26

module app

go 1.19

require memsess v0.0.0

replace memsess => ../../clients/go

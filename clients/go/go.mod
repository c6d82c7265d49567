module memsess

go 1.19

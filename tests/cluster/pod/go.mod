// The one program in the test bed's image.
module glooshot/tests/cluster/pod

go 1.21

// What tests/deps.sh builds the conformance suite from. Old enough for the Go of Debian 12.
module h2spec

go 1.19

require (
	github.com/summerwind/h2spec v2.2.1+incompatible
	github.com/fatih/color v1.16.0
	github.com/inconshreveable/mousetrap v1.1.0
	github.com/mattn/go-colorable v0.1.13
	github.com/mattn/go-isatty v0.0.20
	github.com/spf13/cobra v1.8.0
	github.com/spf13/pflag v1.0.5
	golang.org/x/net v0.20.0
	golang.org/x/sys v0.16.0
	golang.org/x/text v0.14.0
)

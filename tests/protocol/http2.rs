//! HTTP/2 with prior knowledge: a raw client in front of the real binary, raw upstreams of both versions behind it.

mod the_harness;

//! The tutorial on one machine: its application, and the tutorial itself.

pub mod bookinfo;

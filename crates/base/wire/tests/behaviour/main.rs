//! The codec from outside: what it writes it reads, what it must refuse it refuses, and nothing makes it panic.

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod bytes;
#[cfg(test)]
mod never_panics;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod strict;

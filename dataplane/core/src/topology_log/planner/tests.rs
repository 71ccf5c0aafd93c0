//! What the planner promises, on a world of its own: see `world.rs` for what is modelled there.

mod properties;
mod tables;
mod troubles;
mod verdict;
mod world;

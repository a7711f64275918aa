//! The library that a guest of Strato links against.
#![no_std]

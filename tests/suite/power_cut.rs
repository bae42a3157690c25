//! Cutting the power, on a file system on a loop device: the image is copied at some moment, and
//! what the copy holds is what a disk would hold that got no more current.

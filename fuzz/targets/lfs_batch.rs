#![no_main]
sinew_fuzz::target!(sinew_hub::fuzz::lfs_batch);

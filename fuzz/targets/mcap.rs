#![no_main]
sinew_fuzz::target!(sinew_datasets::fuzz::mcap);

#![no_main]
sinew_fuzz::target!(sinew_hub::fuzz::packets);

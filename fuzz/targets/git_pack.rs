#![no_main]
sinew_fuzz::target!(sinew_hub::fuzz::git_pack);

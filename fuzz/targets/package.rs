#![no_main]
sinew_fuzz::target!(sinew_fuzz::parsers::package);

#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| postern_fuzz::run("workload_tokens", input));

// Prints how the native tests can run kernels of ISAs that this machine lacks:
//   tiles  the CPU has AVX-512 VNNI and BF16, so only the AMX tile instructions are emulated;
//   simde  the CPU has AVX2, and SIMDe (Debian: libsimde-dev) stands in for AVX-512;
//   none   neither, which the tests say.
// WHITTLE_EMULATION forces one.
import { existsSync, readFileSync } from 'node:fs';

const forced = process.env.WHITTLE_EMULATION;
const flags = new Set(
  existsSync('/proc/cpuinfo')
    ? readFileSync('/proc/cpuinfo', 'utf8')
        .match(/^flags.*$/m)?.[0]
        .split(/\s+/)
    : [],
);
const includes = ['/usr/include', '/usr/local/include', ...(process.env.CPLUS_INCLUDE_PATH ?? '').split(':')];
const hasSimde = includes.some((folder) => folder && existsSync(`${folder}/simde/x86/avx512.h`));
const detected =
  flags.has('avx512_vnni') && flags.has('avx512_bf16') ? 'tiles' : flags.has('avx2') && hasSimde ? 'simde' : 'none';
console.log(forced || detected);

# Built by node-gyp for development and for prebuilt binaries. The sources and the flags of each ISA are
# listed once, in native/sources.json, which CMakeLists.txt reads too.
{
  "variables": {
    "openssl_fips": "",
    "list": "node scripts/list-sources.mjs",
    # How native tests run the kernels of ISAs that this machine lacks: tiles, simde or none.
    "emulation%": "<!(node scripts/choose-emulation.mjs)"
  },
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-fno-rtti"],
    "cflags": ["-fPIC", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"],
    "cflags_cc": ["-std=c++20", "-fexceptions"],
    "ldflags": ["-pthread"]
  },
  "targets": [
    { "target_name": "kernels_ref", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.ref)"], "cflags_cc": ["<!@(<(list) flags.ref)"] },
    { "target_name": "kernels_avx2", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.avx2)"], "cflags_cc": ["<!@(<(list) flags.avx2)"] },
    { "target_name": "kernels_avxvnni", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.avxvnni)"], "cflags_cc": ["<!@(<(list) flags.avxvnni)"] },
    { "target_name": "kernels_avx512", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.avx512)"], "cflags_cc": ["<!@(<(list) flags.avx512)"] },
    { "target_name": "kernels_vnni", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.vnni)"], "cflags_cc": ["<!@(<(list) flags.vnni)"] },
    { "target_name": "kernels_amx", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) kernels.amx)"], "cflags_cc": ["<!@(<(list) flags.amx)"] },
    {
      "target_name": "whittle_core", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) core)"],
      "dependencies": ["kernels_ref", "kernels_avx2", "kernels_avxvnni", "kernels_avx512", "kernels_vnni", "kernels_amx"]
    },
    {
      "target_name": "whittle",
      "sources": ["<!@(<(list) addon)"],
      "dependencies": ["whittle_core"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"]
    },
    # The CUDA kernels as C++, and a GPU that is not there to run them, for native tests only.
    { "target_name": "cuda_shim", "type": "static_library", "standalone_static_library": 1,
      "sources": ["<!@(<(list) cuda_shim)"],
      "defines": ["WHITTLE_CUDA_SHIM"], "cflags_cc": ["-Wno-unknown-pragmas"] },
    {
      "target_name": "whittle_native_tests", "type": "executable",
      "sources": ["<!@(<(list) test)"],
      "dependencies": ["whittle_core", "cuda_shim"],
      "conditions": [
        ["emulation!='none'", {
          "dependencies": ["kernels_emulated"],
          "defines": ["WHITTLE_EMULATION_<(emulation)"]
        }]
      ]
    },
    {
      "target_name": "whittle_kernel_bench", "type": "executable",
      "sources": ["native/bench/kernel_bench.cc"],
      "dependencies": ["whittle_core"]
    },
    {
      "target_name": "whittle_engine_bench", "type": "executable",
      "sources": ["native/bench/engine_bench.cc"],
      "dependencies": ["whittle_core"]
    },
    {
      "target_name": "whittle_training_bench", "type": "executable",
      "sources": ["native/bench/training_bench.cc"],
      "dependencies": ["whittle_core"]
    }
  ],
  # The same kernel sources under another namespace, for native tests only: with emulated tiles, and without AVX-512
  # with SIMDe's portable intrinsics in place of <immintrin.h>.
  "conditions": [
    ["emulation=='tiles'", { "targets": [
      { "target_name": "kernels_emulated", "type": "static_library", "standalone_static_library": 1,
        "defines": ["WHITTLE_EMULATE_TILES", "whittle=whittle_emulated"],
        "sources": ["<!@(<(list) kernels.amx)"], "cflags_cc": ["<!@(<(list) flags.amx)"] }
    ] }],
    ["emulation=='simde'", { "targets": [
      { "target_name": "kernels_emulated", "type": "static_library", "standalone_static_library": 1,
        "defines": ["WHITTLE_EMULATE_TILES", "whittle=whittle_emulated"],
        "include_dirs": ["native/test/simde"],
        "sources": ["<!@(<(list) kernels.avx512)", "<!@(<(list) kernels.vnni)", "<!@(<(list) kernels.amx)"],
        "cflags_cc": ["<!@(<(list) flags.avx2)", "-O1", "-Wno-psabi", "-Wno-ignored-attributes"] }
    ] }]
  ]
}

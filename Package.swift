// swift-tools-version: 6.2

import PackageDescription

let package = Package(
  name: "swift-attention",
  products: [
    .executable(name: "attention", targets: ["AttentionCommand"]),
    .library(name: "Tensors", targets: ["Tensors"]),
    .library(name: "Attention", targets: ["Attention"]),
    .library(name: "Layers", targets: ["Layers"]),
    .library(name: "LanguageModels", targets: ["LanguageModels"]),
    .library(name: "Training", targets: ["Training"]),
    // For other languages: the functions of AttentionInterface/include/swift_attention.h.
    .library(name: "swift_attention", type: .dynamic, targets: ["AttentionLibrary"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
  ],
  targets: [
    // The innermost loops. Optimised in debug builds too, so that tests run at kernel speed.
    .target(name: "CPUKernels", cSettings: [.unsafeFlags(["-O3"])]),
    // The system's C library, by one name on every system.
    .target(name: "AttentionCLibrary"),
    // NVIDIA's libraries, opened at run time: nothing of CUDA is needed to build.
    .target(name: "CUDAInterface"),
    // The sources of GPU kernels, embedded in one C file.
    .target(
      name: "CUDAKernels",
      exclude: ["tile", "ladder", "attention", "layers", "linear", "scan", "tensors", "training"]),
    .target(
      name: "CUDA", dependencies: ["CUDAInterface", "CUDAKernels", "AttentionCLibrary"]),
    .target(name: "Tensors", dependencies: ["CPUKernels", "CUDA", "AttentionCLibrary"]),
    .target(
      name: "Attention", dependencies: ["Tensors", "CPUKernels", "CUDA", "AttentionCLibrary"]),
    .target(
      name: "Layers", dependencies: ["Attention", "CPUKernels", "CUDA", "AttentionCLibrary"]),
    .target(name: "LanguageModels", dependencies: ["Layers", "CUDA", "AttentionCLibrary"]),
    .target(
      name: "Training",
      dependencies: ["LanguageModels", "CPUKernels", "CUDA", "AttentionCLibrary"]),
    .target(name: "Conformance", dependencies: ["Attention"]),
    // The C interface: its header with what is easier in C, and its functions.
    .target(name: "AttentionInterface"),
    .target(
      name: "AttentionLibrary",
      dependencies: ["AttentionInterface", "Attention", "Tensors", "CUDA"],
      exclude: ["exports.map"],
      linkerSettings: [
        // Nothing but the interface is seen from outside, so that another Swift runtime in the same
        // process stays apart; and the library stays loaded, because its threads do.
        .unsafeFlags(
          [
            "-Xlinker",
            "--version-script=\(Context.packageDirectory)/Sources/AttentionLibrary/exports.map",
            "-Xlinker", "-z", "-Xlinker", "nodelete", "-static-stdlib",
          ], .when(platforms: [.linux]))
      ]),
    .executableTarget(
      name: "AttentionCommand",
      dependencies: [
        "Training", "Conformance", "CUDA", "AttentionCLibrary",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // What tests share. It has none of its own.
    .testTarget(name: "TestSupport", dependencies: ["Tensors", "CUDA"]),
    .testTarget(name: "CUDATests", dependencies: ["CUDA", "TestSupport"]),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors", "CUDA", "TestSupport"]),
    .testTarget(name: "AttentionTests", dependencies: ["Attention", "Conformance", "TestSupport"]),
    .testTarget(name: "LayersTests", dependencies: ["Layers", "CUDA", "TestSupport"]),
    .testTarget(
      name: "LanguageModelsTests", dependencies: ["LanguageModels", "CUDA", "TestSupport"]),
    .testTarget(name: "TrainingTests", dependencies: ["Training", "CUDA", "TestSupport"]),
    // The programs of the documentation's pages.
    .testTarget(
      name: "DocumentationTests", dependencies: ["Training", "Attention", "TestSupport"]),
    .testTarget(
      name: "AttentionCommandTests",
      dependencies: ["AttentionCommand", "Attention", "Training", "Tensors"]),
  ]
)

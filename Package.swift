// swift-tools-version: 6.2

import PackageDescription

// What SwiftAttention imports. Who depends on it names these too: SwiftPM compiles a dependent again when a module
// that it names has changed, not when one has that another passes on.
let libraries = [
  "AttentionTensors", "AttentionOperators", "AttentionLayers", "AttentionTokenizers",
  "AttentionLanguageModels", "AttentionTraining",
]

let package = Package(
  name: "swift-attention",
  products: [
    .executable(name: "attention", targets: ["AttentionCommand"]),
    // All of the libraries below, in one import.
    .library(name: "SwiftAttention", targets: ["SwiftAttention"] + libraries),
    .library(name: "AttentionTensors", targets: ["AttentionTensors"]),
    .library(name: "AttentionOperators", targets: ["AttentionOperators"]),
    .library(name: "AttentionLayers", targets: ["AttentionLayers"]),
    .library(name: "AttentionTokenizers", targets: ["AttentionTokenizers"]),
    .library(name: "AttentionLanguageModels", targets: ["AttentionLanguageModels"]),
    .library(name: "AttentionTraining", targets: ["AttentionTraining"]),
    // Answers to requests, without a network: the package in Serving puts HTTP around it.
    .library(name: "AttentionServing", targets: ["AttentionServing"]),
    // For other languages: the functions of AttentionInterface/include/swift_attention.h.
    .library(name: "swift_attention", type: .dynamic, targets: ["AttentionLibrary"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
  ],
  targets: [
    // A program has at most one target of a name, its dependencies' included. So modules begin with
    // "Attention", and their folders do without.

    // All libraries in one import.
    .target(name: "SwiftAttention", dependencies: libraries.map { .target(name: $0) }),
    // The innermost loops. Optimised in debug builds too, so that tests run at kernel speed.
    .target(
      name: "AttentionCPUKernels", path: "Sources/CPUKernels", cSettings: [.unsafeFlags(["-O3"])]),
    // The system's C library, by one name on every system.
    .target(name: "AttentionCLibrary"),
    // Reading files and folders, and how text from outside appears in messages.
    .target(name: "AttentionFiles", dependencies: ["AttentionCLibrary"], path: "Sources/Files"),
    // JSON5, of which JSON is a part.
    .target(name: "AttentionJSON", path: "Sources/JSON"),
    // Tokenizers and chat templates of published models. Tensors are not needed for text.
    .target(
      name: "AttentionTokenizers",
      dependencies: ["AttentionFiles", "AttentionJSON", "AttentionCLibrary"],
      path: "Sources/Tokenizers"),
    // NVIDIA's libraries, opened at run time: nothing of CUDA is needed to build.
    .target(name: "AttentionCUDAInterface", path: "Sources/CUDAInterface"),
    // The sources of GPU kernels, embedded in one C file.
    .target(
      name: "AttentionCUDAKernels", path: "Sources/CUDAKernels",
      exclude: ["tile", "ladder", "attention", "layers", "linear", "scan", "tensors", "training"]),
    .target(
      name: "AttentionCUDA",
      dependencies: [
        "AttentionCUDAInterface", "AttentionCUDAKernels", "AttentionFiles", "AttentionCLibrary",
      ],
      path: "Sources/CUDA"),
    .target(
      name: "AttentionTensors",
      dependencies: [
        "AttentionCPUKernels", "AttentionCUDA", "AttentionCUDAKernels", "AttentionCLibrary",
      ],
      path: "Sources/Tensors"),
    .target(
      name: "AttentionOperators",
      dependencies: [
        "AttentionTensors", "AttentionCPUKernels", "AttentionCUDA", "AttentionCUDAKernels",
        "AttentionCLibrary",
      ],
      path: "Sources/Attention"),
    .target(
      name: "AttentionLayers",
      dependencies: [
        "AttentionOperators", "AttentionCPUKernels", "AttentionCUDA", "AttentionCUDAKernels",
        "AttentionCLibrary",
      ],
      path: "Sources/Layers"),
    .target(
      name: "AttentionLanguageModels",
      dependencies: [
        "AttentionOperators", "AttentionLayers", "AttentionTokenizers", "AttentionJSON",
        "AttentionCUDA",
        "AttentionCLibrary",
      ],
      path: "Sources/LanguageModels"),
    .target(
      name: "AttentionTraining",
      dependencies: [
        "AttentionLanguageModels", "AttentionCPUKernels", "AttentionCUDA", "AttentionCUDAKernels",
        "AttentionCLibrary",
      ],
      path: "Sources/Training"),
    .target(
      name: "AttentionServing",
      dependencies: [
        "AttentionLanguageModels", "AttentionLayers", "AttentionTensors", "AttentionTokenizers",
        "AttentionJSON", "AttentionCLibrary",
      ],
      path: "Sources/Serving"),
    .target(
      name: "AttentionConformance", dependencies: ["AttentionOperators"],
      path: "Sources/Conformance"),
    // The C interface: its header with what is easier in C, and its functions.
    .target(name: "AttentionInterface"),
    .target(
      name: "AttentionLibrary",
      dependencies: [
        "AttentionInterface", "AttentionOperators", "AttentionTensors", "AttentionCUDA",
      ],
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
        "AttentionTraining", "AttentionLanguageModels", "AttentionLayers", "AttentionTokenizers",
        "AttentionConformance", "AttentionCUDA", "AttentionCLibrary",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // What tests share. It has none of its own.
    .testTarget(name: "TestSupport", dependencies: ["AttentionTensors", "AttentionCUDA"]),
    .testTarget(name: "FilesTests", dependencies: ["AttentionFiles", "TestSupport"]),
    .testTarget(
      name: "TokenizersTests",
      dependencies: ["AttentionTokenizers", "AttentionJSON", "AttentionFiles", "TestSupport"]),
    .testTarget(name: "CUDATests", dependencies: ["AttentionCUDA", "TestSupport"]),
    .testTarget(
      name: "TensorsTests", dependencies: ["AttentionTensors", "AttentionCUDA", "TestSupport"]),
    .testTarget(
      name: "AttentionTests",
      dependencies: ["AttentionOperators", "AttentionConformance", "TestSupport"]),
    .testTarget(
      name: "LayersTests",
      dependencies: ["AttentionLayers", "AttentionCUDA", "AttentionCLibrary", "TestSupport"]),
    .testTarget(
      name: "LanguageModelsTests",
      dependencies: [
        "AttentionLanguageModels", "AttentionCUDA", "AttentionCLibrary", "TestSupport",
      ]),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "AttentionTraining", "AttentionLanguageModels", "AttentionLayers", "AttentionTensors",
        "AttentionCUDA", "AttentionCLibrary", "TestSupport",
      ]),
    .testTarget(
      name: "ServingTests",
      dependencies: [
        "AttentionServing", "AttentionLanguageModels", "AttentionLayers", "AttentionTensors",
        "AttentionCLibrary", "TestSupport",
      ]),
    // The programs of the documentation's pages.
    .testTarget(
      name: "DocumentationTests",
      dependencies: ["SwiftAttention", "AttentionServing", "TestSupport"]
        + libraries.map { .target(name: $0) }),
    .testTarget(
      name: "AttentionCommandTests",
      dependencies: [
        "AttentionCommand", "AttentionOperators", "AttentionTraining", "AttentionTensors",
      ]),
  ]
)

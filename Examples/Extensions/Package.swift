// swift-tools-version: 6.2

import PackageDescription

// Its targets may be called Tensors, Attention and Layers: the modules of swift-attention have longer names.
let package = Package(
  name: "Extensions",
  dependencies: [
    // A clone, whatever its folder is called.
    .package(name: "swift-attention", path: "../..")
  ],
  targets: [
    .target(name: "Tensors", dependencies: [attention]),
    .target(name: "Attention", dependencies: [attention]),
    .target(name: "Layers", dependencies: [attention, "Tensors"]),
    .executableTarget(
      name: "Extensions", dependencies: [attention, "Attention", "Layers", "Tensors"]),
  ]
)

var attention: Target.Dependency { .product(name: "SwiftAttention", package: "swift-attention") }

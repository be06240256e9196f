// swift-tools-version: 6.2

import PackageDescription

// A package of its own, so that who does not serve neither fetches nor builds an HTTP server.
let package = Package(
  name: "Serving",
  products: [.executable(name: "attention-serve", targets: ["AttentionServe"])],
  dependencies: [
    // A clone, whatever its folder is called.
    .package(name: "swift-attention", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    // Without its traits it needs no Foundation.
    .package(
      url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    // What Hummingbird's own interface is made of.
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .executableTarget(
      name: "AttentionServe",
      dependencies: [
        .product(name: "AttentionServing", package: "swift-attention"),
        .product(name: "AttentionTraining", package: "swift-attention"),
        .product(name: "AttentionLanguageModels", package: "swift-attention"),
        .product(name: "AttentionTensors", package: "swift-attention"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Logging", package: "swift-log"),
      ])
  ]
)

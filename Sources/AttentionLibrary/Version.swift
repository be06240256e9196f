// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionInterface

@c @implementation
public func sa_interface_version() -> Int32 { SA_INTERFACE_VERSION }

@c @implementation
public func sa_version() -> UnsafePointer<CChar>! {
  version.utf8Start.withMemoryRebound(to: CChar.self, capacity: version.utf8CodeUnitCount + 1) {
    $0
  }
}

private let version: StaticString = "0.1.0"

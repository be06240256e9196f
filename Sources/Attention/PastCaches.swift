/// When results are written past the caches.
enum PastCaches {
  /// Results of so many bytes are gone from the caches before anybody reads them: bringing their old
  /// content there first would be in vain.
  static let leastBytes = 16 << 20

  /// What the C loops take: 1 for results that go past the caches.
  static func flag(bytes: Int) -> Int32 { bytes >= leastBytes ? 1 : 0 }
}

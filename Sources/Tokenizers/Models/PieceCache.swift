import AttentionCLibrary

/// The tokens of short pieces met before: words repeat. Each piece has one slot, by its hash; what was there is
/// overwritten.
final class PieceCache {
  private static let slotBits = 14
  private static let mostBytes = 27
  private static let mostTokens = 7

  private struct Slot {
    var hash: UInt64 = 0
    /// The number of bytes in the piece, 0 in a free slot.
    var length: UInt8 = 0
    var count: UInt8 = 0
    var bytes: InlineArray<27, UInt8> = .init(repeating: 0)
    var tokens: InlineArray<7, Int32> = .init(repeating: 0)
  }

  private let slots: UnsafeMutablePointer<Slot>

  init() {
    slots = .allocate(capacity: 1 << Self.slotBits)
    slots.initialize(repeating: Slot(), count: 1 << Self.slotBits)
  }

  deinit { slots.deallocate() }

  /// Appends the tokens of `piece` if they are known.
  @inline(__always)
  func append(_ piece: UnsafeBufferPointer<UInt8>, _ hash: UInt64, to tokens: inout [Int32]) -> Bool
  {
    let slot = slots + Int(truncatingIfNeeded: hash >> UInt64(64 - Self.slotBits))
    guard slot.pointee.hash == hash, Int(slot.pointee.length) == piece.count,
      let base = piece.baseAddress
    else { return false }
    let bytes = UnsafeRawPointer(slot) + MemoryLayout<Slot>.offset(of: \.bytes)!
    guard memcmp(bytes, base, piece.count) == 0 else { return false }
    for i in 0..<Int(slot.pointee.count) { tokens.append(slot.pointee.tokens[i]) }
    return true
  }

  /// Remembers the tokens of `piece`, unless either is too long.
  func insert(_ piece: UnsafeBufferPointer<UInt8>, _ hash: UInt64, _ tokens: ArraySlice<Int32>) {
    guard piece.count <= Self.mostBytes, tokens.count <= Self.mostTokens else { return }
    let slot = slots + Int(truncatingIfNeeded: hash >> UInt64(64 - Self.slotBits))
    slot.pointee.hash = hash
    slot.pointee.length = UInt8(piece.count)
    slot.pointee.count = UInt8(tokens.count)
    for (i, byte) in piece.enumerated() { slot.pointee.bytes[i] = byte }
    for (i, token) in tokens.enumerated() { slot.pointee.tokens[i] = token }
  }
}

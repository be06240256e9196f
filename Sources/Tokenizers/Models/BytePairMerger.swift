/// Merges neighbouring symbols until none merge any more: always the pair of the lowest rank, of equal ones the leftmost.
struct BytePairMerger: Sendable {
  let table: MergeTable

  /// Up to this many symbols the lowest rank is searched for; beyond, a heap has it.
  private static let fewSymbols = 64

  /// Merges `scratch.symbols`.
  func merge(_ scratch: inout ModelScratch) {
    guard scratch.symbols.count > 1 else { return }
    if scratch.symbols.count <= Self.fewSymbols { mergeFew(&scratch) } else { mergeMany(&scratch) }
  }

  private func mergeFew(_ scratch: inout ModelScratch) {
    var count = scratch.symbols.count
    scratch.ranks.removeAll(keepingCapacity: true)
    for i in 0..<count - 1 {
      scratch.ranks.append(table.merge(scratch.symbols[i], scratch.symbols[i + 1]).rank)
    }
    scratch.ranks.append(.max)
    scratch.symbols.withUnsafeMutableBufferPointer { symbols in
      scratch.ranks.withUnsafeMutableBufferPointer { ranks in
        while true {
          var best = UInt32.max
          var place = 0
          for i in 0..<count - 1 where ranks[i] < best {
            best = ranks[i]
            place = i
          }
          guard best < .max else { break }
          symbols[place] = table.merge(symbols[place], symbols[place + 1]).symbol
          count -= 1
          for i in place + 1..<max(count, place + 1) {
            symbols[i] = symbols[i + 1]
            ranks[i] = ranks[i + 1]
          }
          ranks[count - 1] = .max
          if place + 1 < count {
            ranks[place] = table.merge(symbols[place], symbols[place + 1]).rank
          }
          if place > 0 { ranks[place - 1] = table.merge(symbols[place - 1], symbols[place]).rank }
        }
      }
    }
    scratch.symbols.removeLast(scratch.symbols.count - count)
  }

  private func mergeMany(_ scratch: inout ModelScratch) {
    let count = scratch.symbols.count
    scratch.heap.removeAll()
    scratch.previous = (0..<Int32(count)).map { $0 - 1 }
    scratch.next = (0..<Int32(count)).map { $0 + 1 }
    scratch.ranks = Array(repeating: .max, count: count)
    /// Notes the merge of the symbol at `place` with the next one.
    func note(_ place: Int) {
      let next = Int(scratch.next[place])
      let rank =
        next < count ? table.merge(scratch.symbols[place], scratch.symbols[next]).rank : .max
      scratch.ranks[place] = rank
      if rank < .max { scratch.heap.insert(UInt64(rank) << 32 | UInt64(place)) }
    }
    for place in 0..<count { note(place) }
    while let first = scratch.heap.popFirst() {
      let place = Int(truncatingIfNeeded: first & 0xFFFF_FFFF)
      // An entry is out of date if the symbol, or the one after it, has merged since.
      guard scratch.ranks[place] == UInt32(first >> 32) else { continue }
      let next = Int(scratch.next[place])
      scratch.symbols[place] = table.merge(scratch.symbols[place], scratch.symbols[next]).symbol
      scratch.symbols[next] = -1
      scratch.ranks[next] = .max
      let after = scratch.next[next]
      scratch.next[place] = after
      if Int(after) < count { scratch.previous[Int(after)] = Int32(place) }
      note(place)
      if scratch.previous[place] >= 0 { note(Int(scratch.previous[place])) }
    }
    scratch.symbols.removeAll { $0 == -1 }
  }
}

/// A mistake in how the tool was called, or in what it was given to read.
struct CommandError: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  init(_ argument: String, was: String, mustBe: String) {
    self.init("\(argument) is \(was); it must be \(mustBe)")
  }
}

/// A program of the documentation whose result differs from what its page says.
struct ProgramError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

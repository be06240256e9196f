// What a package can add to swift-attention without changing it. Every part checks what it shows.
try checkOperation()
try checkMixer()

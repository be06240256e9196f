// What a package can add to swift-attention without changing it. Every part checks what it shows.
try checkKernel()
try checkOperation()
try checkMixer()

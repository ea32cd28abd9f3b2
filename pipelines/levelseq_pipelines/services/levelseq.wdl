version 1.1

# `levelseq run` as one task. The container reads and writes the object store itself, so addresses
# are strings; a task that was stopped goes on from the workspace. `levelseq submit` leaves out
# the lines with a lower-case gpu where no GPU is asked for.
workflow levelseq {
  input {
    String image
    String command_line
    String settings = ""
    Int cpu
    Int memory_gib
    Int gpu
    String gpu_type
  }

  call run {
    input:
      gpu = gpu,
      gpu_type = gpu_type,
      image = image,
      command_line = command_line,
      settings = settings,
      cpu = cpu,
      memory_gib = memory_gib
  }

  output {
    File verdict_address = run.verdict_address
  }
}

task run {
  input {
    String image
    String command_line
    String settings
    Int cpu
    Int memory_gib
    Int gpu
    String gpu_type
  }

  command <<<
    ~{settings}
    ~{command_line}
  >>>

  output {
    File verdict_address = stdout()
  }

  runtime {
    container: image
    cpu: cpu
    memory: "~{memory_gib} GiB"
    acceleratorCount: gpu
    acceleratorType: gpu_type
  }
}

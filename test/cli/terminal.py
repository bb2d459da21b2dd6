"""Runs a command on a terminal of its own: terminal.py ANSWERS COMMAND...  ANSWERS is a JSON list of strings, typed one
at each prompt; a lone surrogate from U+DC80 to U+DCFF is the byte 80 to FF. Prints what the terminal showed; exits as the command did."""
import json, os, pty, sys

answers = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b''
prompts = 0
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    shown += data
    count = shown.count(b'assphrase: ') + shown.count(b'The same again: ') + shown.count(b'to go on: ')
    if count > prompts and answers:
        prompts = count
        os.write(terminal, answers.pop(0).encode(errors='surrogateescape'))
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status) & 255)

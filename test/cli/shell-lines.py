"""Types lines into a shell on a terminal: shell-lines.py SETUP LINES SHELL...  LINES is a JSON list of strings, which may
hold tabs. What completion makes of each becomes the arguments of `argv`, a function that SETUP must define, and that
must end by printing "finished"."""
import json, os, pty, sys

setup, lines, *shell = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.environ['TERM'] = 'xterm'
    os.execvp(shell[0], shell)


def read_until(mark):
    seen = b''
    while mark not in seen:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            part = b''
        if part == b'':
            sys.exit(f'the shell ended before {mark!r}: {seen!r}')
        seen += part


os.write(terminal, setup.encode() + b'\n')
# In two parts, so that the echo of the command is not taken for what it does.
os.write(terminal, b"PS1='rea''dy> '\n")
read_until(b'ready> ')
for line in json.loads(lines):
    # Ctrl-A goes to the beginning of the line.
    os.write(terminal, line.encode() + b'\x01argv \n')
    read_until(b'finished')
os.write(terminal, b'exit\n')
os.waitpid(child, 0)

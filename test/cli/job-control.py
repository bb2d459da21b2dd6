"""Stops a command at its passphrase prompt, and lets it go on: job-control.py HOW COMMAND...

HOW is `shell` (an interactive bash starts the command; it is stopped by Ctrl-Z and continued by `fg`), `alone` (the command
leads the terminal's session, so Ctrl-Z cannot stop it) or `signal` (SIGSTOP and SIGCONT from elsewhere). At the second prompt
`second` is typed, and Enter. Prints what the terminal showed; then, as a line of JSON, whether it echoed at each prompt, and
the exit code."""
import json, os, pty, re, select, shlex, signal, sys, termios, time

how, command = sys.argv[1], sys.argv[2:]
shown = b''


def start(arguments):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(arguments[0], arguments, {**os.environ, 'PS1': 'ready> ', 'TERM': 'dumb', 'HISTFILE': '/dev/null'})
    return pid, terminal


def read_until(terminal, pattern, count=1, seconds=60):
    global shown
    end = time.monotonic() + seconds
    while len(re.findall(pattern, shown)) < count:
        if time.monotonic() > end:
            raise SystemExit(f'no {pattern!r}: {shown!r}')
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                return False
    return True


def echoes(terminal):
    time.sleep(0.1)
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


echoed = []
PROMPT = rb'Passphrase: '
READY = rb'ready> '
if how == 'shell':
    pid, terminal = start(['bash', '--norc', '--noprofile', '-i'])
    read_until(terminal, READY)
    os.write(terminal, (shlex.join(command) + '; echo exit=$?\n').encode())
else:
    pid, terminal = start(command)
read_until(terminal, PROMPT)
echoed.append(echoes(terminal))
os.write(terminal, b'first')
time.sleep(0.2)
if how == 'signal':
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    # As a shell would leave the terminal.
    settings = termios.tcgetattr(terminal)
    settings[3] |= termios.ECHO | termios.ICANON | termios.ISIG
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    os.kill(pid, signal.SIGCONT)
else:
    os.write(terminal, b'\x1a')
if how == 'shell':
    read_until(terminal, rb'Stopped')
    read_until(terminal, READY, 2)
    os.write(terminal, b'fg; echo exit=$?\n')
read_until(terminal, PROMPT, 2)
echoed.append(echoes(terminal))
os.write(terminal, b'second\r')
if how == 'shell':
    read_until(terminal, rb'exit=\d+', 2)
    code = int(re.findall(rb'exit=(\d+)', shown)[-1])
    os.write(terminal, b'exit\n')
else:
    # To the end of all output.
    read_until(terminal, rb'a^')
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.write(shown.decode(errors='replace'))
print('\n' + json.dumps({'echoed': echoed, 'exitCode': code}))

"""The parts of `config/embedded.py`: where files lie (`layout`), who uses the servers (`locks`), how each
server is started, watched and stopped (`postgres_server`, `redis_server`), and whom they run as
(`system_user`).
"""

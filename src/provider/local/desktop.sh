#!/bin/sh
# The participant's desktop: an X server that speaks RFB on a unix socket and on nothing else, with a window manager, a
# panel, the files of ~/Desktop and the software on it. There is no VNC password: whoever reaches the socket is let in,
# so only the participant and the machine's root can, and the agent beside it is the one door.
#
#   lablink-desktop check     is everything there? Ends with 0, or says what is missing
#   lablink-desktop           keeps the desktop up until it is killed; started by the machine's root while it boots
#
# The X server does not know of agent, allocator or browsers: its windows stay while those come and go. Whatever of it
# ends is started again: a window manager or panel alone, or all, and then the software too. Image recipes use this same file; DESKTOP_DIR, DESKTOP_USER and DESKTOP_DISPLAY may be set.

place=${DESKTOP_DIR:-/run/lablink-desktop}
user=${DESKTOP_USER:-client}
display=${DESKTOP_DISPLAY:-:1}
path=/opt/lablink/bin:/opt/bin:/usr/local/bin:/usr/bin:/bin
home=$(getent passwd "$user" | cut -d: -f6)
uid=$(id -u "$user")
gid=$(id -g "$user")

missing() {
        for program in Xvnc openbox xkbcomp; do
                PATH=$path command -v "$program" >/dev/null || echo "$program"
        done
}

say() {
        printf '%s desktop: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >&2
}

as_user() {
        setpriv --reuid="$uid" --regid="$gid" --clear-groups -- env -i HOME="$home" USER="$user" LOGNAME="$user" \
                SHELL=/bin/bash LANG=C.UTF-8 PATH="$path" DISPLAY="$display" XDG_RUNTIME_DIR="/run/user/$uid" \
                XDG_CONFIG_DIRS="$place/xdg:/etc/xdg" XDG_DATA_DIRS="$place/share:/usr/local/share:/usr/share" \
                XDG_CURRENT_DESKTOP=openbox GTK2_RC_FILES="$place/gtkrc" NO_AT_BRIDGE=1 LIBGL_ALWAYS_SOFTWARE=1 "$@"
}

# --- what the programs read: made new at each start, in memory -----------------------------------------------------------

write_openbox() {
        cat >"$place/openbox.xml" <<-END
		<?xml version="1.0" encoding="UTF-8"?>
		<openbox_config xmlns="http://openbox.org/3.4/rc">
		<focus><focusNew>yes</focusNew><raiseOnFocus>no</raiseOnFocus></focus>
		<placement><policy>Smart</policy><center>yes</center></placement>
		<theme><name>Clearlooks</name><titleLayout>NLIMC</titleLayout><keepBorder>yes</keepBorder>
		<font place="ActiveWindow"><name>DejaVu Sans</name><size>10</size><weight>Bold</weight></font>
		<font place="InactiveWindow"><name>DejaVu Sans</name><size>10</size></font>
		<font place="MenuItem"><name>DejaVu Sans</name><size>10</size></font></theme>
		<desktops><number>1</number></desktops>
		<resize><drawContents>no</drawContents></resize>
		<keyboard>
		<keybind key="A-Tab"><action name="NextWindow"><finalactions><action name="Focus"/><action name="Raise"/><action name="Unshade"/></finalactions></action></keybind>
		<keybind key="A-F4"><action name="Close"/></keybind>
		<keybind key="C-A-t"><action name="Execute"><command>$place/bin/terminal</command></action></keybind>
		<keybind key="C-A-Delete"><action name="ShowMenu"><menu>root-menu</menu></action></keybind>
		<keybind key="W-e"><action name="Execute"><command>$place/bin/files</command></action></keybind>
		</keyboard>
		<mouse><dragThreshold>4</dragThreshold><doubleClickTime>500</doubleClickTime>
		<context name="Titlebar">
		<mousebind button="Left" action="Drag"><action name="Move"/></mousebind>
		<mousebind button="Left" action="DoubleClick"><action name="ToggleMaximize"/></mousebind>
		</context>
		<context name="Titlebar Top Right Bottom Left TLCorner TRCorner BRCorner BLCorner">
		<mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
		</context>
		<context name="Top"><mousebind button="Left" action="Drag"><action name="Resize"><edge>top</edge></action></mousebind></context>
		<context name="Left"><mousebind button="Left" action="Drag"><action name="Resize"><edge>left</edge></action></mousebind></context>
		<context name="Right"><mousebind button="Left" action="Drag"><action name="Resize"><edge>right</edge></action></mousebind></context>
		<context name="Bottom"><mousebind button="Left" action="Drag"><action name="Resize"><edge>bottom</edge></action></mousebind></context>
		<context name="TRCorner BRCorner TLCorner BLCorner"><mousebind button="Left" action="Drag"><action name="Resize"/></mousebind></context>
		<context name="Client">
		<mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
		<mousebind button="Right" action="Press"><action name="Focus"/><action name="Raise"/></mousebind>
		</context>
		<context name="Close"><mousebind button="Left" action="Click"><action name="Close"/></mousebind></context>
		<context name="Maximize"><mousebind button="Left" action="Click"><action name="ToggleMaximize"/></mousebind></context>
		<context name="Iconify"><mousebind button="Left" action="Click"><action name="Iconify"/></mousebind></context>
		<context name="Icon"><mousebind button="Left" action="Press"><action name="Focus"/><action name="Raise"/><action name="ShowMenu"><menu>client-menu</menu></action></mousebind></context>
		<context name="Root">
		<mousebind button="Left" action="Press"><action name="ShowMenu"><menu>root-menu</menu></action></mousebind>
		<mousebind button="Right" action="Press"><action name="ShowMenu"><menu>root-menu</menu></action></mousebind>
		</context>
		</mouse>
		<menu><file>$place/menu.xml</file></menu>
		</openbox_config>
	END
        cat >"$place/menu.xml" <<-END
		<?xml version="1.0" encoding="UTF-8"?>
		<openbox_menu xmlns="http://openbox.org/3.4/menu"><menu id="root-menu" label="Desktop">
		<item label="Terminal"><action name="Execute"><command>$place/bin/terminal</command></action></item>
		<item label="Files"><action name="Execute"><command>$place/bin/files</command></action></item>
		<separator/>
		<menu id="client-list-combined-menu"/>
		</menu></openbox_menu>
	END
}

write_terminal() {
        mkdir -p "$place/bin"
        cat >"$place/bin/terminal" <<-END
		#!/bin/sh
		# A terminal; its arguments are a command. Ctrl-Shift-C and Ctrl-Shift-V are copy and paste.
		# The one with a command is the seat's first window: beside the icons of the desktop.
		place=
		if [ \$# -gt 0 ]; then set -- -e "\$@" && place=+140+64; else set -- -ls; fi
		exec xterm -title Terminal -n Terminal -fa 'DejaVu Sans Mono' -fs 11 -geometry 92x26\$place -bg '#10151c' -fg '#dfe6ee' \
		        -cr '#7fb4ff' -sl 5000 +sb -u8 -bc -xrm 'XTerm*selectToClipboard: true' -xrm 'XTerm*internalBorder: 6' \
		        -xrm 'XTerm*vt100.translations: #override Ctrl Shift <Key>C: copy-selection(CLIPBOARD)\\n Ctrl Shift <Key>V: insert-selection(CLIPBOARD)' \
		        "\$@"
	END
        cat >"$place/bin/files" <<-'END'
		#!/bin/sh
		exec pcmanfm "${1:-$HOME}"
	END
        chmod 0755 "$place/bin/terminal" "$place/bin/files"
}

# On a phone the screen is smaller than windows are, and it turns. Openbox leaves windows as they are then.
write_fit() {
        cat >"$place/bin/fit" <<-'END'
		#!/bin/sh
		# A window that has no room on the screen is maximised until there is room for it again; one that reaches beyond
		# the screen is moved. Looked at are all when the screen changes, and each new one once.
		known=$XDG_RUNTIME_DIR/windows
		rm -rf "$known"
		mkdir "$known" || exit 1

		is_as_before() { # WINDOW: has it the size again that w and h say, or less?
		        wmctrl -l -G | while read -r id _ _ _ w_now h_now _; do
		                [ "$id" != "$1" ] || { [ "$w_now" -le "$w" ] && [ "$h_now" -le "$h" ] && echo yes; }
		        done | grep -q yes
		}

		# Waits for it: what the next look took for the window's own size would else be that of the screen.
		unmaximise() {
		        wmctrl -i -r "$1" -b remove,maximized_vert,maximized_horz
		        tries=0
		        until is_as_before "$1" || [ "$tries" -ge 40 ]; do
		                tries=$((tries + 1))
		                sleep 0.05
		        done
		}

		settle() { # WINDOW X Y WIDTH HEIGHT, as wmctrl tells them: without the frame, whose offset it adds twice
		        facts=$(xprop -id "$1" _NET_FRAME_EXTENTS _NET_WM_STATE 2>/dev/null)
		        if [ -s "$known/$1" ]; then
		                read -r x y w h <"$known/$1"
		        else
		                case $facts in *_MAXIMIZED_* | *_FULLSCREEN*) return ;; esac
		                # shellcheck disable=SC2046
		                set -- "$@" $(echo "$facts" | sed -n '/^_NET_FRAME_EXTENTS.*=/{s/.*=//; s/,//g; p}') 0 0 0 0
		                x=$(($2 - 2 * $6)) y=$(($3 - 2 * $8)) w=$(($4 + $6 + $7)) h=$(($5 + $8 + $9))
		        fi
		        if [ "$w" -gt "$width" ] || [ "$h" -gt "$height" ]; then
		                [ -s "$known/$1" ] || wmctrl -i -r "$1" -b add,maximized_vert,maximized_horz
		                echo "$x $y $w $h" >"$known/$1"
		                return
		        fi
		        [ ! -s "$known/$1" ] || unmaximise "$1"
		        : >"$known/$1"
		        right=$((left + width - w)) bottom=$((top + height - h)) was="$x $y"
		        [ "$x" -le "$right" ] || x=$right
		        [ "$y" -le "$bottom" ] || y=$bottom
		        [ "$x" -ge "$left" ] || x=$left
		        [ "$y" -ge "$top" ] || y=$top
		        [ "$was" = "$x $y" ] || wmctrl -i -r "$1" -e "0,$x,$y,-1,-1"
		}

		# What has no value yet, xprop would not see changing.
		while said=$(xprop -root _NET_WORKAREA _NET_CLIENT_LIST 2>/dev/null); do
		        case $said in *"no such"* | *"not found"*) sleep 0.2 ;; *) break ;; esac
		done
		xprop -root -spy _NET_WORKAREA _NET_CLIENT_LIST | while read -r property _ value; do
		        case $property in
		        _NET_WORKAREA*)
		                [ "$value" != "$area" ] || continue
		                # shellcheck disable=SC2046
		                set -- $(echo "$value" | tr -d ,)
		                area=$value all=yes left=$1 top=$2 width=$3 height=$4
		                ;;
		        *) all=no ;;
		        esac
		        [ -n "$height" ] || continue
		        wmctrl -l -G | while read -r window desktop x y w h _; do
		                [ "$desktop" = 0 ] || continue # the panel and the icons stand on every desktop
		                [ "$all" = no ] && [ -e "$known/$window" ] && continue
		                settle "$window" "$x" "$y" "$w" "$h" </dev/null
		        done
		done
	END
        chmod 0755 "$place/bin/fit"
}

entry() { # FILE NAME ICON COMMAND
        printf '[Desktop Entry]\nType=Application\nName=%s\nIcon=%s\nExec=%s\nTerminal=false\nCategories=System;\n' \
                "$2" "$3" "$4" >"$place/share/applications/$1.desktop"
}

write_panel() {
        mkdir -p "$place/share/applications"
        entry lablink-terminal Terminal utilities-terminal "$place/bin/terminal"
        entry lablink-files Files system-file-manager "$place/bin/files"
        cat >"$place/tint2rc" <<-END
		rounded = 0
		background_color = #1b2129 100
		border_width = 0
		rounded = 4
		background_color = #38424e 100
		border_width = 0
		panel_items = LTC
		panel_position = bottom center horizontal
		panel_size = 100% 34
		panel_layer = top
		panel_padding = 6 2 6
		panel_background_id = 1
		wm_menu = 1
		strut_policy = follow_size
		taskbar_mode = single_desktop
		taskbar_padding = 4 2 4
		taskbar_background_id = 0
		task_text = 1
		task_icon = 1
		task_maximum_size = 190 30
		task_padding = 8 2 6
		task_background_id = 0
		task_active_background_id = 2
		task_font = DejaVu Sans 9
		task_font_color = #c5cdd7 100
		task_active_font_color = #ffffff 100
		launcher_padding = 2 2 8
		launcher_icon_size = 24
		launcher_icon_theme = Adwaita
		launcher_item_app = $place/share/applications/lablink-terminal.desktop
		launcher_item_app = $place/share/applications/lablink-files.desktop
		time1_format = %H:%M
		time1_font = DejaVu Sans 10
		clock_font_color = #e4e9ef 100
		clock_padding = 8 0
		clock_background_id = 0
	END
}

write_files() {
        profile=$place/xdg/pcmanfm/lablink
        mkdir -p "$profile" "$place/xdg/libfm" "$place/xdg/gtk-3.0"
        cat >"$profile/pcmanfm.conf" <<-END
		[config]
		bm_open_method=0
		[volume]
		mount_on_startup=0
		mount_removable=0
		autorun=0
		[desktop]
		wallpaper_mode=0
		desktop_bg=#2d4f6e
		desktop_fg=#ffffff
		desktop_shadow=#1b2129
		desktop_font=DejaVu Sans 10
		show_documents=0
		show_trash=0
		show_mounts=0
		show_wm_menu=1
		[ui]
		always_show_tabs=0
		win_width=760
		win_height=480
		view_mode=icon
	END
        printf '[config]\nquick_exec=1\nterminal=%s -e %%s\n[ui]\nbig_icon_size=48\n' "$place/bin/terminal" >"$place/xdg/libfm/libfm.conf"
        printf 'gtk-icon-theme-name = "Adwaita"\ngtk-font-name = "DejaVu Sans 10"\n' >"$place/gtkrc"
        printf '[Settings]\ngtk-icon-theme-name=Adwaita\ngtk-font-name=DejaVu Sans 10\n' >"$place/xdg/gtk-3.0/settings.ini"
}

# The directory of the socket is the participant's, who may enter it; what the programs read is root's.
make_place() {
        mkdir -p "$place" /tmp/.X11-unix "/run/user/$uid"
        chmod 1777 /tmp/.X11-unix
        chmod 0700 "/run/user/$uid"
        chown "$uid:$gid" "/run/user/$uid"
        chmod 0755 "$place"
        mkdir -p "$place/rfb.d"
        chmod 0700 "$place/rfb.d"
        chown "$uid:$gid" "$place/rfb.d"
        ln -sfn rfb.d/socket "$place/rfb"
        write_openbox
        write_terminal
        write_fit
        write_panel
        write_files
}

# --- life ----------------------------------------------------------------------------------------------------------------

# One more program of the desktop for as long as the X server lives: started again when it ends, not faster than each
# second.
keep() {
        while kill -0 "$server" 2>/dev/null; do
                as_user "$@" </dev/null >/dev/null 2>&1
                sleep 1
        done
}

stop_all() {
        rm -f "$place/display"
        # shellcheck disable=SC2086
        kill $kept "$server" 2>/dev/null
}

start_server() {
        rm -f "$place/display" "$place/rfb.d/socket" "/tmp/.X${display#:}-lock" "/tmp/.X11-unix/X${display#:}"
        as_user Xvnc "$display" -rfbunixpath "$place/rfb.d/socket" -rfbunixmode 0600 -rfbport -1 -SecurityTypes None \
                -UseBlacklist=0 -AlwaysShared -AcceptSetDesktopSize -MaxDisconnectionTime 0 -MaxIdleTime 0 -IdleTimeout 0 \
                -MaxCutText 1048576 -nolisten tcp -geometry 1280x720 -depth 24 -dpi 96 -desktop "$(hostname)" \
                -fp built-ins -s 0 </dev/null >/dev/null 2>"$place/server.log" &
        server=$!
        tries=0
        until [ -S "$place/rfb.d/socket" ] && [ -S "/tmp/.X11-unix/X${display#:}" ]; do
                tries=$((tries + 1))
                if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 600 ]; then
                        say "the X server did not start: $(tail -n 2 "$place/server.log" | tr '\n' ' ')"
                        kill "$server" 2>/dev/null
                        return 1
                fi
                sleep 0.05
        done
}

start_programs() {
        kept=
        keep openbox --config-file "$place/openbox.xml" --sm-disable &
        kept=$!
        if PATH=$path command -v tint2 >/dev/null; then
                keep tint2 -c "$place/tint2rc" &
                kept="$kept $!"
        fi
        if PATH=$path command -v xprop >/dev/null && PATH=$path command -v wmctrl >/dev/null; then
                keep "$place/bin/fit" &
                kept="$kept $!"
        fi
        if PATH=$path command -v pcmanfm >/dev/null; then
                keep pcmanfm --desktop --profile lablink &
                kept="$kept $!"
        fi
        echo "$display" >"$place/display"
}

gone=$(missing | tr '\n' ' ')
if [ "${1:-}" = check ]; then
        [ -z "$gone" ] && exit 0
        echo "missing: $gone"
        exit 1
fi
if [ -n "$gone" ]; then
        say "there is none, because these programs are missing: $gone"
        exit 1
fi
server='' kept=''
trap 'stop_all; exit 0' TERM INT HUP
make_place
again=no
while :; do
        if start_server; then
                start_programs
                # A seat that has its software gets it back; the first start is the boot script's.
                [ "$again" = no ] || [ ! -x "${DESKTOP_SOFTWARE:-/opt/lablink/bin/lablink-software}" ] ||
                        "${DESKTOP_SOFTWARE:-/opt/lablink/bin/lablink-software}" again
                wait "$server"
                say "the X server ended with status $?: the desktop is started again"
                stop_all
        fi
        again=yes
        sleep 1
done
